"""What each role is made of, and what it does from start to end."""
