"""What Prefect schedules, starts anew and shows: the flows, what serves and deploys them, and the server itself."""
