SELECT handle FROM users
