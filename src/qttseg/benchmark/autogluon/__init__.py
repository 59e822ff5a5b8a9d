"""AutoGluon MultiModal as a competitor, in an environment and processes of its own."""
