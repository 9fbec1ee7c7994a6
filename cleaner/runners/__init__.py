"""Who carries out a cleaning: one executor, and runners that perform its steps."""
