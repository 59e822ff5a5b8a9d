"""What runs beside us in an environment of its own: making that environment, and talking to a program in it."""
