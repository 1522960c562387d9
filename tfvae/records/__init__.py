"""Records: examples on disk, streamed in an order that is a function of (seed, epoch)."""

from tfvae.records.reader import BUFFER_BYTES as BUFFER_BYTES
from tfvae.records.reader import MEMORY_BYTES as MEMORY_BYTES
from tfvae.records.reader import Records as Records
