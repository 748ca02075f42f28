"""The broker over one Redis: publishing, listening, and reading what is kept."""
