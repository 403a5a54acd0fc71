//! Reports as a page.

use crate::page::Page;

pub(crate) fn render(page: &Page<'_>) -> String {
    page.title.clone()
}
