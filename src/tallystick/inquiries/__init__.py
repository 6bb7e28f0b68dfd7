"""What gateways ask followers, over a Unix stream in the data folder. A follower that is away costs that one answer."""
