"""Things that open once: links in mails, codes, tickets. Made here, and spent by one statement."""
