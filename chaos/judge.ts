import type { AdminObserver, ObservedRequest, StandIn } from '../test/support/apisix-stand-in/stand-in.ts';
import { SIGNATURE_HEADER } from '../test/support/instrument.ts';
import { certificateIn, type GatewayContent, isRetained, ownersFields } from './comparison.ts';
import { LeaseRecord } from './lease-record.ts';
import type { Model, Secret } from './model.ts';
import type { Place } from './places.ts';
import { placeKey, VANISHED_HOLD_MS } from './registered.ts';
import type { Exit } from './replica.ts';

/** The operator uses this id to check whether its key may write. The upstream never exists. */
const WRITE_PROBE_ID = 'gateway-upstream-operator.write-probe';
/**
 * Resource limits of one operator: far above its needs, far below a leak. A status write of each of some 60 objects may be under
 * way while each of some 30 services of a registry has a query.
 */
const LIMITS = { rss: 400 * 1024 * 1024, files: 250 };
/** The limit of metric series: several times those of one connection, and fewer than the names that a tenant can write. */
const MAX_SERIES = 1500;

/** When a request arrived. */
interface Arrival {
  /** Monotonic, milliseconds. */
  readonly at: number;
  /** The number of checkpoints that had succeeded. */
  readonly checkpoints: number;
}

export interface JudgeOptions {
  readonly model: Model;
  readonly leaseDurationMs: number;
  /** Whether the process of this name is running, not frozen, and not asked to stop. */
  readonly isAwake: (instance: string) => boolean;
  readonly note: (line: string) => void;
}

/** Checks every request and log line of the operators. `violations` lists the invariants that they broke. */
export class Judge implements AdminObserver {
  readonly violations: string[] = [];
  readonly writes = { put: 0, patch: 0, delete: 0, cluster: 0, lost: 0 };
  readonly peak = { rss: 0, files: 0, sockets: 0, series: 0 };
  readonly #options: JudgeOptions;
  readonly #leases: LeaseRecord;
  /** Writes to the gateway that are in progress, by upstream id. */
  readonly #underWay = new Map<string, Map<number, string>>();
  /** A slow gateway may apply a write from before the last checkpoint. */
  readonly #arrivals = new WeakMap<ObservedRequest, Arrival>();
  readonly #lostLease = new Set<string>();
  #gateway: StandIn | undefined;

  constructor(options: JudgeOptions) {
    this.#options = options;
    this.#leases = new LeaseRecord(options.leaseDurationMs);
  }

  watch(gateway: StandIn): void {
    this.#gateway = gateway;
  }

  arrived(request: ObservedRequest): void {
    const id = writtenId(request);
    if (id === undefined || id === WRITE_PROBE_ID) return;
    this.#arrivals.set(request, { at: performance.now(), checkpoints: this.#options.model.checkpoints });
    const operator = senderOf(request);
    const others = this.#underWay.get(id) ?? new Map<number, string>();
    this.#underWay.set(id, others);
    const besides = [...others.values()].filter(this.#options.isAwake);
    if (besides.length > 0) {
      this.#violated(
        `${operator} sent ${request.method} for ${id} while a write of ${besides.join(', ')} was in progress`,
      );
    }
    others.set(request.seq, operator);
    const { owned, foreign, kept } = this.#options.model;
    if (!owned.has(id) || foreign.has(id)) {
      this.#violated(`${operator} sent ${request.method} for ${id}, which no object owns`);
    } else if (kept.has(id) !== isOfNodes(request)) {
      this.#violated(
        `${operator} sent ${request.method} ${request.path}, which changes more or less than this object manages`,
      );
    }
  }

  carryingOut(request: ObservedRequest): void {
    const id = writtenId(request);
    if (id === undefined) return;
    const { model } = this.#options;
    const upstream = model.upstreams.get(id);
    const arrival = this.#arrivals.get(request);
    const isNew = arrival?.checkpoints === model.checkpoints;
    const settled = isNew ? upstream?.settled : undefined;
    if (settled === 'Observe') {
      this.#violated(`${senderOf(request)} sent ${request.method} for ${id}, whose syncPolicy is Observe`);
    }
    if (
      request.method === 'DELETE' &&
      upstream === undefined &&
      isRetained(this.#gateway?.get('upstreams', id))
    ) {
      this.#violated(`${senderOf(request)} deleted ${id}, whose deletionPolicy is Orphan`);
    }
    if (request.method === 'PUT' && upstream !== undefined) {
      const problem = problemOfCertificate(model.secretOf(upstream), JSON.parse(request.body ?? '{}'), isNew);
      if (problem !== undefined) this.#violated(`${senderOf(request)} sent PUT for ${id} with ${problem}`);
    }
    const before = placesIn(this.#gateway?.get('upstreams', id));
    if (before.size === 0 || upstream?.state !== 'live' || settled === undefined) return;
    const after = placesAfter(request, before);
    const write = `${request.method} ${request.body ?? ''}`;
    if (after.size === 0 && model.isSteady(upstream)) {
      this.#violated(
        `${senderOf(request)} removed the last node of ${id}, whose Services always had a ready endpoint: ${write}`,
      );
    }
    const held = model.heldPlaces(upstream, arrival?.at ?? 0);
    const early = [...before].filter((place) => held.has(place) && !after.has(place));
    if (early.length > 0) {
      this.#violated(
        `${senderOf(request)} removed ${early.join(', ')} of ${id} less than ${VANISHED_HOLD_MS} ms after the registry lost them: ${write}`,
      );
    }
  }

  carriedOut(request: ObservedRequest, status: number): void {
    if (status >= 300) return;
    if (request.method === 'PUT') this.writes.put += 1;
    if (request.method === 'DELETE') this.writes.delete += 1;
    if (isOfNodes(request)) {
      this.writes.patch += 1;
      const upstream = this.#options.model.upstreams.get(writtenId(request) ?? '');
      if (upstream !== undefined) upstream.begun = true;
    }
  }

  ended(request: ObservedRequest): void {
    const id = writtenId(request);
    if (id !== undefined) this.#underWay.get(id)?.delete(request.seq);
  }

  printed(instance: string, line: string): void {
    if (this.#leases.take(instance, line) || line === '') return;
    let entry: { readonly level?: string; readonly msg?: string; readonly err?: { readonly type?: string } };
    try {
      entry = JSON.parse(line) as typeof entry;
    } catch {
      this.#violated(`${instance} printed a line that is not a log entry: ${line}`);
      return;
    }
    this.#options.note(`${instance} ${line}`);
    if (entry.msg === 'lost the lease') {
      this.#lostLease.add(instance);
      this.writes.lost += 1;
    }
    if (entry.level === 'error' && entry.err !== undefined && entry.err.type !== 'LeaseLostError') {
      this.#violated(`${instance} logged an unexpected error: ${line}`);
    }
  }

  exited(instance: string, { code, signal, doing }: Exit): void {
    this.#options.note(`${instance} exited with ${code ?? signal}`);
    // SIGTERM kills a process that does not handle the signal yet.
    const expected =
      doing === 'kill' ||
      (doing === 'stop' && (code === 0 || signal === 'SIGTERM')) ||
      (code === 1 && this.#lostLease.has(instance));
    if (!expected) this.#violated(`${instance} exited unexpectedly with ${code ?? signal}`);
  }

  /** Checks the invariants that are not checked for each request. */
  check(): void {
    const { model } = this.#options;
    if (this.#gateway?.get('upstreams', WRITE_PROBE_ID) !== undefined) {
      this.#violated('the write probe created an upstream');
    }
    for (const [id, value] of model.foreign) {
      const now = JSON.stringify(this.#gateway?.get('upstreams', id));
      if (now !== value) this.#violated(`the foreign upstream ${id} changed to ${now} from ${value}`);
    }
    for (const [id, fields] of model.kept) {
      const now = ownersFields(this.#gateway?.get('upstreams', id));
      if (now !== fields) this.#violated(`${id} changed outside its nodes to ${now} from ${fields}`);
    }
    this.writes.cluster += this.#leases.pending;
    for (const { operator, method, path } of this.#leases.outside()) {
      this.#violated(`${operator} sent ${method} ${path} without holding the Lease`);
    }
  }

  measured(
    name: string,
    footprint: { readonly rss: number; readonly files: number; readonly sockets: number },
  ): void {
    for (const key of ['rss', 'files', 'sockets'] as const) {
      this.peak[key] = Math.max(this.peak[key], footprint[key]);
    }
    for (const key of ['rss', 'files'] as const) {
      if (footprint[key] > LIMITS[key])
        this.#violated(
          `${name} uses ${footprint[key]} ${key === 'rss' ? 'bytes of memory' : 'open files'}, more than ${LIMITS[key]}`,
        );
    }
  }

  counted(name: string, series: number): void {
    this.peak.series = Math.max(this.peak.series, series);
    if (series > MAX_SERIES) this.#violated(`${name} has ${series} metric series, more than ${MAX_SERIES}`);
  }

  #violated(what: string): void {
    this.violations.push(what);
    this.#options.note(`VIOLATION ${what}`);
  }
}

function senderOf({ headers }: ObservedRequest): string {
  return String(headers[SIGNATURE_HEADER] ?? 'unknown');
}

/** The upstream id that a request changes, or its whole path if it changes something else. */
function writtenId({ method, path }: ObservedRequest): string | undefined {
  if (method === 'GET') return undefined;
  return decodeURIComponent(
    /^\/apisix\/admin\/upstreams\/([^/?]+)(?:\/nodes)?(?:\?.*)?$/.exec(path)?.[1] ?? path,
  );
}

function problemOfCertificate(
  secret: Secret | undefined,
  written: GatewayContent,
  isNew: boolean,
): string | undefined {
  const shown = certificateIn(written);
  if (secret === undefined)
    return shown === undefined ? undefined : 'a certificate although the object has no Secret';
  if (shown === undefined || !secret.had.has(shown)) return 'a certificate that its Secret never had';
  const { settled } = secret;
  return !isNew || settled === undefined || settled.certificate === shown
    ? undefined
    : 'an outdated certificate';
}

/** Whether a request changes only the nodes of an upstream. */
function isOfNodes({ method, path }: ObservedRequest): boolean {
  return method === 'PATCH' && /^\/apisix\/admin\/upstreams\/[^/?]+\/nodes$/.test(path);
}

/** The places of the nodes after the gateway applied a request to an upstream with nodes at `before`. */
function placesAfter(request: ObservedRequest, before: ReadonlySet<string>): ReadonlySet<string> {
  if (request.method === 'DELETE') return new Set();
  const body = JSON.parse(request.body ?? '{}') as { readonly nodes?: readonly unknown[] };
  if (isOfNodes(request)) return placesIn({ nodes: body });
  return request.method === 'PATCH' && body.nodes === undefined ? before : placesIn(body);
}

function placesIn(upstream: unknown): ReadonlySet<string> {
  const { nodes } = (upstream ?? {}) as { readonly nodes?: readonly Place[] };
  return new Set((nodes ?? []).map(placeKey));
}
