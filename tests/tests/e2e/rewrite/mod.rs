//! `wpclone rewrite --sql` with dumps made by MariaDB, and with one larger than memory should be.

mod database;
mod dumps;
mod gigabyte;
