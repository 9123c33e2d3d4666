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
  type Followed,
  isBehind,
  isUnreachable,
} from './expectations.ts';

/** Of more upstreams than this a data plane is asked by one list. */
const MAX_GETS = 8;
/** Between two lists of one data plane: by its source, APISIX keeps a worker busy for a list. */
const LIST_EVERY_MS = 5000;
const FAILED_RETRY_MS = 1000;
/** Until a data plane that lags or cannot be reached is asked again. */
export const LAGGING_RETRY_MS = 30_000;

export interface Poll {
  readonly connection: string;
  readonly url: string;
  readonly followed: Followed;
  readonly dataPlane: DataPlane;
  readonly reader: DataPlaneReader;
  /** Whether the data plane is no longer followed, so that its answer says nothing. */
  readonly isGone: () => boolean;
  readonly clock: Clock;
  readonly log: Logger;
  /** What the status of the connection reports changed. */
  readonly onChange: (connection: string) => void;
  /** What is known of `ids` changed. */
  readonly report: (followed: Followed, ids: Iterable<UpstreamId>) => void;
}

/** Asks one data plane for everything that it is due to be asked for. */
export async function poll(run: Poll, signal: AbortSignal): Promise<Result> {
  const { url, dataPlane, reader, isGone, clock } = run;
  const ids = [...dataPlane.due];
  if (ids.length === 0 && dataPlane.asked) return { kind: 'done' };
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
    if (isGone()) return { kind: 'done' };
    for (const id of ids) dataPlane.due.add(id);
    return failed(run, error);
  }
  return isGone() ? { kind: 'done' } : answered(run, ids, answers);
}

function answered(
  { connection, url, followed, dataPlane, clock, log, onChange, report }: Poll,
  ids: readonly UpstreamId[],
  answers: ReadonlyMap<UpstreamId, string | undefined>,
): Result {
  const isFirst = !dataPlane.asked;
  const wasUnreachable = isUnreachable(dataPlane);
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
  if (wasUnreachable) log.info({ connection, dataPlane: url }, 'data plane is reachable again');
  if (isFirst || wasUnreachable) onChange(connection);
  report(followed, wasUnreachable ? followed.expected.keys() : ids);
  if (!isBehind(dataPlane)) return { kind: 'done' };
  for (const [id, verdict] of dataPlane.verdicts) if (verdict !== 'Current') dataPlane.due.add(id);
  return { kind: 'after', delayMs: LAGGING_RETRY_MS };
}

function failed(
  { connection, url, followed, dataPlane, log, onChange, report }: Poll,
  error: GatewayUnavailableError,
): Result {
  const { problem } = dataPlane;
  dataPlane.failures += 1;
  dataPlane.problem = error.message;
  if (dataPlane.failures < FAILURES_UNREACHABLE) return { kind: 'after', delayMs: FAILED_RETRY_MS };
  if (dataPlane.failures === FAILURES_UNREACHABLE) {
    log.warn({ connection, dataPlane: url }, `data plane is unreachable: ${error.message}`);
    // What it serves when it comes back is not known.
    for (const id of followed.expected.keys()) dataPlane.due.add(id);
    report(followed, followed.expected.keys());
  }
  if (dataPlane.failures === FAILURES_UNREACHABLE || problem !== error.message) onChange(connection);
  return { kind: 'after', delayMs: LAGGING_RETRY_MS };
}

/** One after the other: several data planes are asked at once, but none of them for several ids. */
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
