"""A device compared with the CPU, and watched for what a sampler must not wait for."""
