import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const text = readFileSync(new URL('../../CHANGELOG.md', import.meta.url), 'utf8');

/** The kinds of changes of Keep a Changelog 1.1, in its order. */
const KINDS = ['Added', 'Changed', 'Deprecated', 'Removed', 'Fixed', 'Security'];

const releases = text.split(/^## /m).slice(1);

describe('CHANGELOG.md', () => {
  it('starts with the unreleased changes and gives every release a version and a date', () => {
    const [first, ...others] = releases.map((release) => release.split('\n', 1)[0]);
    expect(first).toBe('Unreleased');
    for (const heading of others) expect(heading).toMatch(/^\d+\.\d+\.\d+ - 20\d\d-[01]\d-[0-3]\d$/);
  });

  it('groups the changes of a release by kind, in the order of Keep a Changelog', () => {
    for (const release of releases) {
      const kinds = [...release.matchAll(/^### (.+)$/gm)].map(([, kind]) => kind);
      expect(kinds).toEqual(KINDS.filter((kind) => kinds.includes(kind)));
    }
  });

  it('lists changes in every group', () => {
    for (const group of text.split(/^### /m).slice(1)) expect(group).toMatch(/^- [A-Z].*\.$/m);
  });
});
