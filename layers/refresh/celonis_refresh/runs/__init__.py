"""The table: slots, leases, runs and deliveries, and every change of them as one conditional write."""
