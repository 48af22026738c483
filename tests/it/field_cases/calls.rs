//! Calls beside changes, callers that leave, and answers at the border of what is read.
