"""What an operator's monitoring reads: requests, statements, queues, mails and sign-ins, summed over all processes."""
