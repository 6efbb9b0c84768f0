"""A router per resource; each route hands over to one service."""
