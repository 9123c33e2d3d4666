import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { CONDITIONS } from '../../src/api/conditions.ts';
import { parseDocuments } from '../../src/cli/plan/read-files.ts';
import { isObject, objectIn } from '../../src/runtime/json.ts';
import { goldenCases, goldenFiles } from '../support/golden.ts';
import { customResourceReferences } from '../support/references.ts';

const committed = (path: string) =>
  readFile(new URL(`../../${path}`, import.meta.url), 'utf8').catch(() => '');
const cases = goldenCases();

describe('golden cases', () => {
  it.each(cases)('match: %s', async (name) => {
    for (const [path, content] of await goldenFiles(name)) {
      expect(content, `${path}: run \`npm run generate\` and look at what it changes`).toBe(
        await committed(path),
      );
    }
  });

  it.each(cases)('describe themselves in the first line: %s', async (name) => {
    expect(await committed(`test/golden/${name}/input.yaml`)).toMatch(/^# [^\n]{10,116}[.]\n/);
  });

  it('cover every field of a GatewayUpstream', async () => {
    const shown = new Set<string>();
    for (const name of cases) {
      const text = await committed(`test/golden/${name}/input.yaml`);
      for (const { value } of parseDocuments(text, name)) {
        const { kind, spec } = objectIn(value);
        if (kind === 'GatewayUpstream') addPaths(shown, spec, 'spec');
      }
    }
    const fields = customResourceReferences().find(({ title }) => title === 'GatewayUpstream')?.fields ?? [];
    const hidden = fields
      .map(({ path }) => path)
      .filter((path) => path.startsWith('spec.') && !shown.has(path));
    expect(hidden).toEqual([]);
  });

  it('cover every reason that does not need a fault', async () => {
    const shown = new Set<unknown>();
    for (const name of cases) {
      const statuses = objectIn(JSON.parse(await committed(`test/golden/${name}/status.json`)));
      for (const status of Object.values(statuses)) {
        const { conditions } = objectIn(status);
        if (Array.isArray(conditions)) for (const one of conditions) shown.add(objectIn(one)['reason']);
      }
    }
    const { Accepted, ResolvedRefs, Programmed, Ready } = CONDITIONS.GatewayUpstream;
    const reasons = [Accepted, ResolvedRefs, Programmed, Ready].flatMap((facts) =>
      Object.values(facts.reasons).flat(),
    );
    const hidden = [...new Set<string>(reasons)].filter((reason) => !shown.has(reason)).sort();
    expect(hidden).toEqual(REASONS_WITHOUT_CASE);
  });
});

/** Reasons of a broken cluster or gateway, and of specs that the API server rejects: docs/error-reference.md covers them. */
const REASONS_WITHOUT_CASE = [
  'FinalizerRefused',
  'GatewayUnavailable',
  'InUse',
  'InvalidSpec',
  // Written by `uninstall`, tested in test/unit/cli/uninstall/mark-uninstalled.test.ts.
  'OperatorUninstalled',
  'PermissionMissing',
  'Rejected',
  // Tested in test/unit/decide/instance-limit.test.ts and test/unit/sources/registries.test.ts.
  'TooManyInstances',
  'TooManyServices',
  'Unauthorized',
];

/** The paths of `value` and its fields, in the form of the reference. */
function addPaths(paths: Set<string>, value: unknown, path: string): void {
  paths.add(path);
  if (Array.isArray(value)) for (const item of value) addPaths(paths, item, `${path}[]`);
  else if (isObject(value)) {
    for (const [field, member] of Object.entries(value)) addPaths(paths, member, `${path}.${field}`);
  }
}
