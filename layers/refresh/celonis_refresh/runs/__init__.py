"""The DynamoDB table: slots, leases, runs and deliveries. Every change is one conditional write."""
