// Downloads the file of a Notion block. Notion answers a signed link that lasts an hour and belongs to a storage host:
// the second request goes there without the credential, because the link is one.
import { fetch, log, ModuleError } from '../portcullis/module.js';

const MAX_BYTES = 2 * 1024 * 1024;

async function download(input) {
  const block = await metadata(input.block_id);
  const kind = block[block.type];
  if (kind?.type !== 'file') {
    throw new ModuleError('no_file', `the block is of the type ${block.type} and has no file of Notion's`, {
      class: 'validation',
    });
  }
  const answer = (await fetch(kind.file.url, { maxResponseBytes: MAX_BYTES })).check();
  log.info(`${answer.bytes.length} bytes`);
  return {
    name: kind.name ?? null,
    content_type: answer.headers.get('content-type') ?? 'application/octet-stream',
    bytes: answer.bytes.length,
    base64: base64(answer.bytes),
  };
}

async function metadata(id) {
  const url = `https://api.notion.com/v1/blocks/${encodeURIComponent(id)}`;
  const answer = await fetch(url, { credential: 'default', headers: { 'notion-version': '2022-06-28' } });
  return answer.check().json();
}

function base64(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return btoa(text);
}

export const actions = { download };
