"""What requests say and what responses say, a module a resource."""
