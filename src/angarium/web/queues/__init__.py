"""What people have stopped in the sender queue, and what they have removed from it."""
