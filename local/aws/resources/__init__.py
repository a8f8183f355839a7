"""One function per CloudFormation resource type, each calling the API that CloudFormation would call."""
