"""Chats and profiles on Lambda: a module for each function, and what they share."""
