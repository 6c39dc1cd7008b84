//! Message transfer between threads (manual, chapter 4.2).
