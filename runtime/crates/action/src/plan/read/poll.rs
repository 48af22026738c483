//! How an answer that is not finished yet is asked for again.

use super::super::{Asked, PollPlace, PollPlan};
use super::{document, placed, scalar, text_of};
use crate::json::Reader;

pub(super) fn read(reader: &mut Reader<'_>) -> Option<PollPlan> {
    let (mut place, mut done, mut failed) = (None, None, None);
    let (mut result_url, mut asked) = (None, None);
    reader.members(|reader, name| {
        match name {
            "place" => place = Some(poll_place(reader)?),
            "done" => done = Some(document(reader)?),
            "failed" => failed = Some(document(reader)?),
            "result_url" => result_url = Some(text_of(reader)?),
            "asked" => asked = Some(read_asked(reader)?),
            _ => return None,
        }
        Some(())
    })?;
    Some(PollPlan { place: place?, done, failed, result_url, asked })
}

fn poll_place(reader: &mut Reader<'_>) -> Option<PollPlace> {
    let (place, name) = placed(reader)?;
    let name = text_of(&mut Reader::new(name))?;
    Some(match place.as_ref() {
        "header" => PollPlace::Header(name),
        "body" => PollPlace::Body(name),
        _ => return None,
    })
}

fn read_asked(reader: &mut Reader<'_>) -> Option<Asked> {
    let (mut url, mut result) = (None, false);
    reader.members(|reader, name| {
        match name {
            "url" => url = Some(text_of(reader)?),
            "result" => result = scalar(reader)?,
            _ => return None,
        }
        Some(())
    })?;
    Some(Asked { url: url?, result })
}
