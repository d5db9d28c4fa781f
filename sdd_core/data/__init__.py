"""Images and labels: a data set, conversion from other forms, batches on a device."""
