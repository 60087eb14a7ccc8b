"""Server-side sessions: how they start, end and are judged again."""
