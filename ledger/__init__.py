"""Every order and every fill in SQL, and the profit that follows from them."""
