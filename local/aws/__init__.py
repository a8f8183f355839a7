"""A SAM template run on this machine: its resources in moto, its functions in processes of their own."""
