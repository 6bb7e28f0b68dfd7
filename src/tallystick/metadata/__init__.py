"""Text that comes with payments: personal data, which no entry holds. It is kept encrypted, under the commitment that
the entry has, by a key of the person's own; destroying that key erases it, and every proof of the log still verifies.
"""
