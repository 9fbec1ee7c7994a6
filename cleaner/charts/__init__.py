"""Charts that the report and the dashboard share: functions from counts to altair charts."""
