"""What people read: tables for terminals, JSON for programs."""
