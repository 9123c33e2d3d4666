import { judgeView } from '../../decide/data-planes.ts';
import type { DataPlaneReader } from '../../gateways/driver.ts';
import { GatewayUnavailableError } from '../../model/errors.ts';
import type { UpstreamId } from '../../model/upstream.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/logger.ts';
import type { Result } from '../../runtime/work-queue.ts';
import {
  type DataPlane,
  FAILURES_UNREACHABLE,
  isLagging,
  isUnreachable,
  type VerifiedGateway,
} from './expectations.ts';

/** Above this number of due upstreams, one list replaces the GET requests. */
const MAX_GETS = 8;
/** Minimum time between two lists of one data plane. According to its source, APISIX blocks a worker during a list. */
const LIST_EVERY_MS = 5000;
const FAILED_RETRY_MS = 1000;
/** Retry delay for a data plane that lags or is unreachable. */
export const LAGGING_RETRY_MS = 30_000;

export interface Poll {
  readonly connection: string;
  readonly url: string;
  readonly gateway: VerifiedGateway;
  readonly dataPlane: DataPlane;
  readonly reader: DataPlaneReader;
  /** Whether the data plane was removed during the poll, so that its answer must be ignored. */
  readonly isRemoved: () => boolean;
  readonly clock: Clock;
  readonly log: Logger;
  /** The data-plane status of the connection changed. */
  readonly onChange: (connection: string) => void;
  /** The verdicts of `ids` may have changed. */
  readonly report: (gateway: VerifiedGateway, ids: Iterable<UpstreamId>) => void;
}

/** Reads all due upstreams from one data plane. */
export async function poll(run: Poll, signal: AbortSignal): Promise<Result> {
  const { url, dataPlane, reader, isRemoved, clock } = run;
  const ids = [...dataPlane.due];
  if (ids.length === 0 && dataPlane.answered) return { kind: 'done' };
  const byList = ids.length > MAX_GETS || ids.length === 0;
  const listableIn = dataPlane.listedAt + LIST_EVERY_MS - clock.monotonic();
  if (byList && listableIn > 0) return { kind: 'after', delayMs: listableIn };
  dataPlane.due.clear();
  if (byList) dataPlane.listedAt = clock.monotonic();
  let answers: ReadonlyMap<UpstreamId, string | undefined>;
  try {
    answers = byList ? await reader.list(url, signal) : await getAll(reader, url, ids, signal);
  } catch (error) {
    if (signal.aborted) return { kind: 'done' };
    if (!(error instanceof GatewayUnavailableError)) throw error;
    if (isRemoved()) return { kind: 'done' };
    for (const id of ids) dataPlane.due.add(id);
    return failed(run, error);
  }
  return isRemoved() ? { kind: 'done' } : answered(run, ids, answers);
}

function answered(
  { connection, url, gateway, dataPlane, clock, log, onChange, report }: Poll,
  ids: readonly UpstreamId[],
  answers: ReadonlyMap<UpstreamId, string | undefined>,
): Result {
  const isFirst = !dataPlane.answered;
  const wasUnreachable = isUnreachable(dataPlane);
  dataPlane.failures = 0;
  dataPlane.answered = true;
  for (const id of ids) {
    const expected = gateway.expected.get(id);
    if (expected === undefined) continue;
    const answer = answers.get(id);
    const view = answer === undefined ? undefined : expected.part(answer);
    const verdict = judgeView(expected, view, clock.monotonic());
    if (verdict !== undefined) dataPlane.verdicts.set(id, verdict);
  }
  if (wasUnreachable) log.info({ connection, dataPlane: url }, 'data plane is reachable again');
  if (isFirst || wasUnreachable) onChange(connection);
  report(gateway, wasUnreachable ? gateway.expected.keys() : ids);
  if (!isLagging(dataPlane)) return { kind: 'done' };
  for (const [id, verdict] of dataPlane.verdicts) if (verdict !== 'Current') dataPlane.due.add(id);
  return { kind: 'after', delayMs: LAGGING_RETRY_MS };
}

function failed(
  { connection, url, gateway, dataPlane, log, onChange, report }: Poll,
  error: GatewayUnavailableError,
): Result {
  const { problem } = dataPlane;
  dataPlane.failures += 1;
  dataPlane.problem = error.message;
  if (dataPlane.failures < FAILURES_UNREACHABLE) return { kind: 'after', delayMs: FAILED_RETRY_MS };
  if (dataPlane.failures === FAILURES_UNREACHABLE) {
    log.warn({ connection, dataPlane: url }, `data plane is unreachable: ${error.message}`);
    // Its content is unknown when it recovers, so every upstream is checked then.
    for (const id of gateway.expected.keys()) dataPlane.due.add(id);
    report(gateway, gateway.expected.keys());
  }
  if (dataPlane.failures === FAILURES_UNREACHABLE || problem !== error.message) onChange(connection);
  return { kind: 'after', delayMs: LAGGING_RETRY_MS };
}

/** Reads `ids` one after the other, so that each data plane handles one request at a time. */
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
