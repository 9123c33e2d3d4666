import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { GatewayUpstreamStatus } from '../../src/api/gateway-upstream-status.ts';
import type { Stores } from '../../src/cli/plan/kinds.ts';
import { type Document, parseDocuments } from '../../src/cli/plan/read-files.ts';
import { keyOf } from '../../src/model/keys.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { type JsonObject, objectIn } from '../../src/runtime/json.ts';
import { type StandIn, startStandIn } from './apisix-stand-in/stand-in.ts';
import { admit, storesOf } from './catalog.ts';
import { type ControllerSettings, runController } from './controller.ts';
import { eventually } from './eventually.ts';
import { goldenRegistries } from './golden-registries.ts';

/** What one golden case comes to, as it is written beside its input. */
interface GoldenResult {
  /** Bodies of writes by method and path, in the order of paths. */
  readonly upstream: Readonly<Record<string, unknown>>;
  /** Of every GatewayUpstream by namespace and name, without times. */
  readonly status: Readonly<Record<string, unknown>>;
}

const ROOT = new URL('../../', import.meta.url);
const FOLDER = 'test/golden';
const NOW = Date.parse('2026-01-01T12:00:00Z');

/** Folders with an `input.yaml`, relative to `test/golden`, in order. */
export function goldenCases(): readonly string[] {
  return readdirSync(new URL(`${FOLDER}/`, ROOT), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('/input.yaml'))
    .map(dirname)
    .sort();
}

/**
 * Runs the operator's controller, from files in place of a cluster, against the stand-in for a gateway over HTTP until
 * every object of the case has a status.
 */
async function runGolden(name: string): Promise<GoldenResult> {
  const file = (path: string) => fileURLToPath(new URL(`${FOLDER}/${path}`, ROOT));
  const documentsIn = async (path: string) => parseDocuments(await readFile(file(path), 'utf8'), path);
  const own = await documentsIn(`${name}/input.yaml`);
  const shared = await documentsIn('default.yaml');
  const before = file(`${name}/gateway.json`);
  const registries = file(`${name}/registries.yaml`);
  const { version, ...held } = existsSync(before)
    ? (JSON.parse(await readFile(before, 'utf8')) as JsonObject)
    : {};
  await using standIn = await startStandIn({
    now: () => NOW / 1000,
    ...(typeof version === 'string' ? { version } : {}),
  });
  for (const [path, body] of Object.entries(held)) {
    const [, resource, id] = /^(upstreams|routes)\/([^/]+)$/.exec(path) ?? [];
    if (id === undefined) throw new Error(`${before}: ${path} is no upstreams/<id> or routes/<id>`);
    standIn.put(resource === 'routes' ? 'routes' : 'upstreams', id, objectIn(body));
  }
  const documents = withDefaults(own, shared).map((document) => toward(standIn, document));
  return await run(
    storesOf(admit(documents, NOW).objects, ['shop']),
    standIn,
    existsSync(registries) ? { registry: goldenRegistries(await readFile(registries, 'utf8')) } : {},
  );
}

/** `own`, and what of `shared` it does not replace. */
function withDefaults(own: readonly Document[], shared: readonly Document[]): readonly Document[] {
  const replaced = new Set(own.map(identityOf));
  return [...own, ...shared.filter((document) => !replaced.has(identityOf(document)))];
}

function identityOf({ value }: Document): string {
  const { kind, metadata } = objectIn(value);
  const { namespace, name } = objectIn(metadata);
  return JSON.stringify([kind, namespace, name]);
}

/** A GatewayConnection whose Admin API is `standIn`; everything else as it is. */
function toward(standIn: StandIn, document: Document): Document {
  const object = objectIn(document.value);
  if (object['kind'] !== 'GatewayConnection') return document;
  const spec = objectIn(object['spec']);
  const apisix = { ...objectIn(spec['apisix']), adminUrl: standIn.adminUrl };
  return { ...document, value: { ...object, spec: { ...spec, apisix } } };
}

async function run(
  stores: Stores,
  standIn: StandIn,
  settings: Pick<ControllerSettings, 'registry'>,
): Promise<GoldenResult> {
  await using controller = runController(stores, {
    clock: { ...systemClock, now: () => NOW },
    ...settings,
  });
  const { statuses } = controller;
  await eventually(() => {
    const waiting = [...stores.upstreams.list()].map(keyOf).filter((key) => !statuses.has(key));
    if (waiting.length > 0 || !controller.isIdle()) throw new Error(`no status yet: ${waiting.join(', ')}`);
  });
  return {
    upstream: inOrder(writesTo(standIn)),
    status: inOrder([...statuses].map(([key, status]) => [key, withoutTimes(status)])),
  };
}

function writesTo({ requests }: StandIn): [string, unknown][] {
  return requests
    .filter(({ method }) => method !== 'GET')
    .map(({ method, path, body }) => [`${method} ${path}`, body === undefined ? null : JSON.parse(body)]);
}

function withoutTimes({ conditions = [], ...status }: GatewayUpstreamStatus): object {
  const { observedGeneration: _generation, upstreamCreateTime: _createTime, ...rest } = status;
  return {
    ...rest,
    conditions: conditions.map(({ type, status: is, reason, message }) => ({
      type,
      status: is,
      reason,
      message,
    })),
  };
}

function inOrder(entries: readonly (readonly [string, unknown])[]): Record<string, unknown> {
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** What is to be in the folder of the case, by path from the repository's root. */
export async function goldenFiles(
  name: string,
): Promise<readonly (readonly [path: string, content: string])[]> {
  const result = await runGolden(name);
  return (['upstream', 'status'] as const).map((what) => [
    `${FOLDER}/${name}/${what}.json`,
    `${JSON.stringify(result[what], undefined, 2)}\n`,
  ]);
}
