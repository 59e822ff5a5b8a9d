"""Methods compared under equal budgets, and the tables that result."""
