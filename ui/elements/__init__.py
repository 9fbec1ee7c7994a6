"""What pages are made of beside charts: pictures that can be clicked, the review desk."""
