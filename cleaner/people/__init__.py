"""Who is asked, about what, and what answers mean."""
