import { isDeepStrictEqual } from 'node:util';
import { MAX_UNREACHABLE } from '../../api/gateway-connection.ts';
import {
  type DataPlanesOfConnection,
  type DataPlanesOfUpstream,
  type DataPlaneVerdict,
  type ExpectedView,
  endpointUrls,
  judgeView,
  noDataPlanes,
  PROOF_GRACE_MS,
  summarizeVerdicts,
  unfollowedProblem,
} from '../../decide/data-planes.ts';
import { nodesIn } from '../../decide/diff.ts';
import { boundedMessage } from '../../decide/status.ts';
import { dataPlanesOf, type FoundDataPlanes } from '../../gateways/connect.ts';
import type { DataPlaneReader } from '../../gateways/driver.ts';
import type { Vendor } from '../../gateways/vendor.ts';
import { GatewayUnavailableError } from '../../model/errors.ts';
import { keyOf, type ObjectKey, splitKey } from '../../model/keys.ts';
import type { GatewayConnection, GatewayUpstream } from '../../model/objects.ts';
import type { ServicePortRef } from '../../model/reference.ts';
import type { StoreView } from '../../model/store-view.ts';
import type { ObservedUpstream, UpstreamId } from '../../model/upstream.ts';
import type { Clock } from '../../runtime/clock.ts';
import { PRIORITY } from '../../runtime/lane.ts';
import type { Logger } from '../../runtime/logger.ts';
import { type Pace, SLOW_CONCURRENCY } from '../../runtime/pace.ts';
import { type Result, WorkQueue } from '../../runtime/work-queue.ts';
import type { DiscoverySource } from '../../sources/source.ts';
import type { ObjectStates } from '../object-state.ts';
import type { Reporter } from '../status/reporter.ts';

export interface DataPlaneVerifierDeps {
  readonly vendorOf: (type: string) => Vendor;
  readonly states: ObjectStates;
  readonly connections: StoreView<GatewayConnection>;
  readonly upstreams: StoreView<GatewayUpstream>;
  /** Undefined while the connection cannot be used. */
  readonly readerOf: (connection: string) => DataPlaneReader | undefined;
  readonly source: DiscoverySource<ServicePortRef>;
  /** The only namespaces whose Services are known. Empty: all. */
  readonly onlyNamespaces: readonly string[];
  readonly reporter: Reporter;
  readonly pace: Pace;
  readonly clock: Clock;
  readonly log: Logger;
  /** What `status` says of a connection changed. */
  readonly onChange: (connection: string) => void;
}

/** After a write, every data plane is asked at these times. */
const ASKED_AFTER_MS = [200, 1000, PROOF_GRACE_MS] as const;
const CONCURRENCY = 8;
/** Of more upstreams than this a data plane is asked by one list. */
const MAX_GETS = 8;
/** Between two lists of one data plane: by source, a list keeps a worker of APISIX busy. */
const LIST_EVERY_MS = 5000;
/** A data plane that fails once may only be restarting. */
const FAILURES_UNREACHABLE = 2;
const FAILED_RETRY_MS = 1000;
/** Until a data plane that lags or cannot be reached is asked again. */
const LAGGING_RETRY_MS = 30_000;

interface Expected extends ExpectedView {
  readonly key: ObjectKey;
  /** What counts of what data planes show. */
  readonly part: (shown: string) => string;
  /** Monotonic times at which it is still to be asked for. */
  readonly asks: readonly number[];
  /** What the status said last. */
  reported: DataPlanesOfUpstream | undefined;
}

interface DataPlane {
  /** What it is asked for next. */
  readonly due: Set<UpstreamId>;
  readonly verdicts: Map<UpstreamId, DataPlaneVerdict>;
  /** Failures in a row. */
  failures: number;
  /** What the last failure was. */
  problem: string;
  /** It answered since it was found, or since the last recheck. */
  asked: boolean;
  /** Monotonic. */
  listedAt: number;
}

interface Followed {
  readonly expected: Map<UpstreamId, Expected>;
  readonly dataPlanes: Map<string, DataPlane>;
  /** Why there are no data planes to ask. */
  problem: string | undefined;
  subscription: { readonly service: string; readonly handle: Disposable } | undefined;
}

/** What a key in the queue stands for. */
type Work =
  | { readonly kind: 'follow'; readonly connection: string }
  | { readonly kind: 'ask'; readonly connection: string; readonly id: UpstreamId }
  | { readonly kind: 'dataPlane'; readonly connection: string; readonly url: string };

/** Of what takes no time. */
const OWN_QUEUE = 'proof';
const dataPlaneQueue = (connection: string): string => `data planes of ${connection}`;

/**
 * Asks the data planes of each gateway whether they serve what was written last. It has a queue of its own and writes
 * nothing but counts and lists in status, so that neither a write nor a condition depends on it.
 */
export class DataPlaneVerifier {
  readonly #deps: DataPlaneVerifierDeps;
  readonly #followed = new Map<string, Followed>();
  readonly #queue: WorkQueue;

  constructor(deps: DataPlaneVerifierDeps) {
    this.#deps = deps;
    this.#queue = new WorkQueue({
      pace: deps.pace,
      clock: deps.clock,
      backoffMs: () => LAGGING_RETRY_MS,
      onError: (key, err) => deps.log.error({ err, key }, 'asking a data plane failed by a defect'),
      run: (key, signal) => this.#run(JSON.parse(key) as Work, signal),
    });
  }

  /** The spec of a connection changed, or it came or went. */
  follow(connection: string): void {
    const object = this.#deps.connections.get('', connection);
    // A spec that this program cannot read says nothing new.
    if (object !== undefined && !object.spec.ok) return;
    const controlApi =
      object?.spec.ok === true ? dataPlanesOf(this.#deps.vendorOf, object.spec.value) : undefined;
    const before = this.#followed.get(connection);
    if (controlApi === undefined) {
      before?.subscription?.handle[Symbol.dispose]();
      this.#followed.delete(connection);
      this.#queue.release(dataPlaneQueue(connection));
      for (const { key } of before?.expected.values() ?? []) {
        const state = this.#deps.states.get(key);
        if (state !== undefined) state.verified = undefined;
        this.#report(key, undefined);
      }
      this.#deps.onChange(connection);
      return;
    }
    const followed: Followed = before ?? {
      expected: new Map(),
      dataPlanes: new Map(),
      problem: undefined,
      subscription: undefined,
    };
    this.#followed.set(connection, followed);
    this.#queue.setConcurrency(dataPlaneQueue(connection), CONCURRENCY, { slow: SLOW_CONCURRENCY });
    this.#subscribe(connection, followed, controlApi.kind === 'service' ? controlApi.ref : undefined);
    const found = controlApi.kind === 'service' ? this.#lookUp(controlApi) : { urls: controlApi.urls };
    followed.problem = found.problem;
    if (found.urls !== undefined) this.#replace(connection, followed, new Set(found.urls));
    this.#deps.onChange(connection);
  }

  /**
   * `object` is programmed: from now on data planes should show `held`. `written`: it was written just now, in place of
   * `replaced`.
   */
  expect(
    object: GatewayUpstream,
    held: ObservedUpstream,
    written: { readonly replaced: ObservedUpstream | undefined } | undefined,
  ): void {
    const key = keyOf(object);
    const { connection } = object;
    const state = this.#deps.states.of(object);
    const followed = this.#followed.get(connection);
    const reader = this.#deps.readerOf(connection);
    if (state === undefined) return;
    if (followed === undefined) {
      // What the status says of data planes is of a time when the connection had a controlApi.
      this.#deps.reporter.dataPlanes(object, undefined);
      return;
    }
    if (reader === undefined) return;
    const { id } = held;
    const now = this.#deps.clock.monotonic();
    // Whatever else an owner changes is no older content.
    const part = object.spec.ok && object.spec.value.manage === 'Nodes' ? nodesIn : wholeOf;
    const shown = part(reader.shown(held.canonical));
    const known = followed.expected.get(id);
    if (written === undefined && known?.shown === shown && known.key === key) return;
    const replaced =
      written?.replaced === undefined ? undefined : part(reader.shown(written.replaced.canonical));
    const superseded = [
      ...(known?.superseded.filter(({ at }) => now - at < PROOF_GRACE_MS) ?? []),
      ...[known?.shown, replaced].flatMap((was) => (was === undefined ? [] : [{ shown: was, at: now }])),
    ];
    state.verified = { connection, id };
    followed.expected.set(id, {
      key,
      part,
      shown,
      superseded,
      createdAt: written !== undefined && replaced === undefined ? now : known?.createdAt,
      asks: written === undefined ? [] : ASKED_AFTER_MS.map((ms) => now + ms),
      reported: known?.reported,
    });
    if (written !== undefined) this.#addAfter({ kind: 'ask', connection, id }, ASKED_AFTER_MS[0]);
    else this.#ask(connection, followed, [id]);
  }

  /** Nothing is expected of data planes for the object any more. */
  forget(key: ObjectKey): void {
    const state = this.#deps.states.get(key);
    const place = state?.verified;
    if (state === undefined || place === undefined) return;
    state.verified = undefined;
    const followed = this.#followed.get(place.connection);
    if (followed?.expected.get(place.id)?.key !== key) return;
    followed.expected.delete(place.id);
    for (const { due, verdicts } of followed.dataPlanes.values()) {
      due.delete(place.id);
      verdicts.delete(place.id);
    }
    this.#report(key, undefined);
  }

  /** Asks every data plane of `connection` for everything. */
  recheck(connection: string): void {
    const followed = this.#followed.get(connection);
    if (followed === undefined) return;
    for (const dataPlane of followed.dataPlanes.values()) dataPlane.asked = false;
    this.#ask(connection, followed, [...followed.expected.keys()]);
  }

  /** What the status of `connection` says; `unknown` until every data plane was asked. */
  status(connection: string): DataPlanesOfConnection | 'unknown' | undefined {
    const followed = this.#followed.get(connection);
    if (followed === undefined) return undefined;
    const all = [...followed.dataPlanes];
    if (all.some(([, { asked, failures }]) => !asked && failures < FAILURES_UNREACHABLE)) return 'unknown';
    const unreachable = all
      .filter(([, dataPlane]) => isUnreachable(dataPlane))
      .map(([dataPlane, { problem }]) => ({ dataPlane, message: boundedMessage(problem) }))
      .sort((a, b) => (a.dataPlane < b.dataPlane ? -1 : 1));
    return {
      total: all.length,
      reachable: all.length - unreachable.length,
      ...(unreachable.length === 0 ? {} : { unreachable: unreachable.slice(0, MAX_UNREACHABLE) }),
      ...(followed.problem === undefined ? {} : { message: boundedMessage(followed.problem) }),
    };
  }

  /** How many data planes of each connection with `controlApi` lag or cannot be asked. */
  lagging(): ReadonlyMap<string, number> {
    return new Map(
      [...this.#followed].map(([connection, { dataPlanes }]) => [
        connection,
        [...dataPlanes.values()].filter((dataPlane) => isUnreachable(dataPlane) || isBehind(dataPlane))
          .length,
      ]),
    );
  }

  /** Asks nothing more, and resolves when no request is left. */
  async close(): Promise<void> {
    await this.#queue.drain();
    for (const { subscription } of this.#followed.values()) subscription?.handle[Symbol.dispose]();
  }

  #add(work: Work): void {
    this.#queue.add(JSON.stringify(work), queueOf(work), PRIORITY.resync);
  }

  #addAfter(work: Work, delayMs: number): void {
    this.#queue.addAfter(JSON.stringify(work), delayMs, queueOf(work), PRIORITY.resync);
  }

  async #run(work: Work, signal: AbortSignal): Promise<Result> {
    switch (work.kind) {
      case 'follow':
        this.follow(work.connection);
        return { kind: 'done' };
      case 'ask':
        return this.#askAsDue(work.connection, work.id);
      case 'dataPlane':
        return await this.#askDataPlane(work.connection, work.url, signal);
      default:
        return work satisfies never;
    }
  }

  #subscribe(connection: string, followed: Followed, ref: ServicePortRef | undefined): void {
    const service = ref === undefined ? undefined : JSON.stringify(ref);
    if (followed.subscription?.service === service) return;
    followed.subscription?.handle[Symbol.dispose]();
    followed.subscription =
      ref === undefined || service === undefined
        ? undefined
        : {
            service,
            // A store tells of each change before it has made the next one.
            handle: this.#deps.source.subscribe(ref, () => this.#add({ kind: 'follow', connection })),
          };
  }

  /** Without `urls` nothing is known now: those known before stay. */
  #lookUp({ ref, field }: Extract<FoundDataPlanes, { kind: 'service' }>): {
    readonly urls?: readonly string[];
    readonly problem?: string;
  } {
    const { onlyNamespaces, source } = this.#deps;
    const unfollowed = unfollowedProblem(onlyNamespaces, ref.namespace, field);
    if (unfollowed !== undefined) return { urls: [], problem: unfollowed };
    const found = source.read(ref);
    switch (found.state) {
      case 'known': {
        const urls = endpointUrls(found);
        return urls.length > 0 ? { urls } : { urls, problem: noDataPlanes(ref, field) };
      }
      case 'external':
        return { urls: [], problem: noDataPlanes(ref, field) };
      case 'absent':
        return { urls: [], problem: `${field}: ${found.message}` };
      case 'unknown':
        return found.beginning ? {} : { problem: found.message };
      default:
        return found satisfies never;
    }
  }

  #replace(connection: string, followed: Followed, urls: ReadonlySet<string>): void {
    const { dataPlanes, expected } = followed;
    const gone = [...dataPlanes.keys()].filter((url) => !urls.has(url));
    for (const url of gone) dataPlanes.delete(url);
    for (const url of urls) {
      if (dataPlanes.has(url)) continue;
      dataPlanes.set(url, {
        due: new Set(expected.keys()),
        verdicts: new Map(),
        failures: 0,
        problem: '',
        asked: false,
        listedAt: Number.NEGATIVE_INFINITY,
      });
      this.#add({ kind: 'dataPlane', connection, url });
    }
    if (gone.length > 0) this.#reportAll(followed, expected.keys());
  }

  #ask(connection: string, { dataPlanes }: Followed, ids: readonly UpstreamId[]): void {
    for (const [url, { due }] of dataPlanes) {
      for (const id of ids) due.add(id);
      this.#add({ kind: 'dataPlane', connection, url });
    }
  }

  /** A newer write of the same id has its own times. */
  #askAsDue(connection: string, id: UpstreamId): Result {
    const followed = this.#followed.get(connection);
    const expected = followed?.expected.get(id);
    if (followed === undefined || expected === undefined) return { kind: 'done' };
    const now = this.#deps.clock.monotonic();
    const asks = expected.asks.filter((at) => at > now);
    if (asks.length < expected.asks.length) this.#ask(connection, followed, [id]);
    followed.expected.set(id, { ...expected, asks });
    const [next] = asks;
    return next === undefined ? { kind: 'done' } : { kind: 'after', delayMs: next - now };
  }

  async #askDataPlane(connection: string, url: string, signal: AbortSignal): Promise<Result> {
    const { clock, log, onChange } = this.#deps;
    const followed = this.#followed.get(connection);
    const dataPlane = followed?.dataPlanes.get(url);
    const reader = this.#deps.readerOf(connection);
    // The list of a session that comes back asks again.
    if (followed === undefined || dataPlane === undefined || reader === undefined) return { kind: 'done' };
    const ids = [...dataPlane.due];
    if (ids.length === 0 && dataPlane.asked) return { kind: 'done' };
    const byList = ids.length > MAX_GETS || ids.length === 0;
    const listableIn = dataPlane.listedAt + LIST_EVERY_MS - clock.monotonic();
    if (byList && listableIn > 0) return { kind: 'after', delayMs: listableIn };
    dataPlane.due.clear();
    if (byList) dataPlane.listedAt = clock.monotonic();
    const wasUnreachable = isUnreachable(dataPlane);
    const isGone = () => this.#followed.get(connection)?.dataPlanes.get(url) !== dataPlane;
    let answers: ReadonlyMap<UpstreamId, string | undefined>;
    try {
      answers = byList ? await reader.list(url, signal) : await getAll(reader, url, ids, signal);
    } catch (error) {
      if (signal.aborted) return { kind: 'done' };
      if (!(error instanceof GatewayUnavailableError)) throw error;
      if (isGone()) return { kind: 'done' };
      for (const id of ids) dataPlane.due.add(id);
      return this.#failed(connection, followed, { url, dataPlane, error });
    }
    if (isGone()) return { kind: 'done' };
    const isFirst = !dataPlane.asked;
    dataPlane.failures = 0;
    dataPlane.asked = true;
    for (const id of ids) {
      const expected = followed.expected.get(id);
      if (expected === undefined) continue;
      const answer = answers.get(id);
      const view = answer === undefined ? undefined : expected.part(answer);
      const verdict = judgeView(expected, view, clock.monotonic());
      if (verdict !== undefined) dataPlane.verdicts.set(id, verdict);
    }
    if (wasUnreachable) log.info({ connection, dataPlane: url }, 'a data plane can be asked again');
    if (isFirst || wasUnreachable) onChange(connection);
    this.#reportAll(followed, wasUnreachable ? followed.expected.keys() : ids);
    if (!isBehind(dataPlane)) return { kind: 'done' };
    for (const [id, verdict] of dataPlane.verdicts) if (verdict !== 'Current') dataPlane.due.add(id);
    return { kind: 'after', delayMs: LAGGING_RETRY_MS };
  }

  #failed(
    connection: string,
    followed: Followed,
    {
      url,
      dataPlane,
      error,
    }: { readonly url: string; readonly dataPlane: DataPlane; readonly error: GatewayUnavailableError },
  ): Result {
    const { problem } = dataPlane;
    dataPlane.failures += 1;
    dataPlane.problem = error.message;
    if (dataPlane.failures < FAILURES_UNREACHABLE) return { kind: 'after', delayMs: FAILED_RETRY_MS };
    if (dataPlane.failures === FAILURES_UNREACHABLE) {
      this.#deps.log.warn({ connection, dataPlane: url }, `a data plane cannot be asked: ${error.message}`);
      // What it serves when it comes back is anybody's guess.
      for (const id of followed.expected.keys()) dataPlane.due.add(id);
      this.#reportAll(followed, followed.expected.keys());
    }
    if (dataPlane.failures === FAILURES_UNREACHABLE || problem !== error.message)
      this.#deps.onChange(connection);
    return { kind: 'after', delayMs: LAGGING_RETRY_MS };
  }

  #reportAll({ expected, dataPlanes }: Followed, ids: Iterable<UpstreamId>): void {
    for (const id of ids) {
      const entry = expected.get(id);
      if (entry === undefined) continue;
      const summary = summarizeVerdicts(
        new Map(
          [...dataPlanes].map(([url, dataPlane]) => [
            url,
            isUnreachable(dataPlane) ? 'Unreachable' : dataPlane.verdicts.get(id),
          ]),
        ),
      );
      if (summary === undefined || isDeepStrictEqual(summary, entry.reported)) continue;
      entry.reported = summary;
      this.#report(entry.key, summary);
    }
  }

  #report(key: ObjectKey, dataPlanes: DataPlanesOfUpstream | undefined): void {
    const { namespace, name } = splitKey(key);
    const object = this.#deps.upstreams.get(namespace, name);
    if (object !== undefined && object.deletionTimestamp === undefined) {
      this.#deps.reporter.dataPlanes(object, dataPlanes);
    }
  }
}

function wholeOf(shown: string): string {
  return shown;
}

function queueOf(work: Work): string {
  return work.kind === 'dataPlane' ? dataPlaneQueue(work.connection) : OWN_QUEUE;
}

function isUnreachable({ failures }: DataPlane): boolean {
  return failures >= FAILURES_UNREACHABLE;
}

function isBehind({ verdicts }: DataPlane): boolean {
  for (const verdict of verdicts.values()) if (verdict !== 'Current') return true;
  return false;
}

/** One after the other: several data planes are asked at once, but none of them for several things. */
async function getAll(
  reader: DataPlaneReader,
  url: string,
  ids: readonly UpstreamId[],
  signal: AbortSignal,
): Promise<ReadonlyMap<UpstreamId, string | undefined>> {
  const answers = new Map<UpstreamId, string | undefined>();
  for (const id of ids) answers.set(id, await reader.get(url, id, signal));
  return answers;
}
