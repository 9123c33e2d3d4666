import type { GatewayConnectionStatus } from '../api/gateway-connection.ts';
import { type LaggingReason, MAX_LAGGING } from '../api/gateway-upstream-status.ts';
import type { Discovered } from '../model/discovered.ts';
import type { ServicePortRef } from '../model/reference.ts';
import { formatPlace } from './diff.ts';
import { chooseEndpoints } from './nodes.ts';

/** After a write, a data plane may serve what was there before for this long without being said to lag. */
export const PROOF_GRACE_MS = 5000;

/** How a data plane stands to an upstream. */
export type DataPlaneVerdict = 'Current' | LaggingReason;

/** What data planes should show of one upstream. Times are monotonic, in milliseconds. */
export interface ExpectedView {
  /** The last accepted write, as data planes show it. */
  readonly shown: string;
  /** What it took the place of, and when; only what was replaced lately counts. */
  readonly superseded: readonly { readonly shown: string; readonly at: number }[];
  /** When it was created; undefined where it was there before. */
  readonly createdAt: number | undefined;
}

/** What `answer`, which a data plane shows now, means; undefined: it still may take over what was written lately. */
export function judgeView(
  expected: ExpectedView,
  answer: string | undefined,
  now: number,
): DataPlaneVerdict | undefined {
  if (answer === expected.shown) return 'Current';
  const isRecent = (at: number) => now - at < PROOF_GRACE_MS;
  if (answer === undefined) {
    return expected.createdAt !== undefined && isRecent(expected.createdAt) ? undefined : 'Missing';
  }
  const wasRight = expected.superseded.some(({ shown, at }) => shown === answer && isRecent(at));
  return wasRight ? undefined : 'OlderContent';
}

/** What the status of an upstream says of its data planes. */
export interface DataPlanesOfUpstream {
  readonly total: number;
  readonly current: number;
  readonly lagging?: { readonly dataPlane: string; readonly reason: LaggingReason }[];
}

/** What the status of a connection says of its data planes. */
export type DataPlanesOfConnection = NonNullable<GatewayConnectionStatus['dataPlanes']>;

/** Counts `verdicts`; undefined where not all of them are known yet. The order of addresses does not matter. */
export function summarizeVerdicts(
  verdicts: ReadonlyMap<string, DataPlaneVerdict | undefined>,
): DataPlanesOfUpstream | undefined {
  const lagging: { readonly dataPlane: string; readonly reason: LaggingReason }[] = [];
  for (const [dataPlane, verdict] of verdicts) {
    if (verdict === undefined) return undefined;
    if (verdict !== 'Current') lagging.push({ dataPlane, reason: verdict });
  }
  lagging.sort((a, b) => (a.dataPlane < b.dataPlane ? -1 : 1));
  return {
    total: verdicts.size,
    current: verdicts.size - lagging.length,
    ...(lagging.length === 0 ? {} : { lagging: lagging.slice(0, MAX_LAGGING) }),
  };
}

/** The addresses of the data planes behind a Service: those of its endpoints that get traffic. */
export function endpointUrls({
  endpoints,
  preferredFamily,
}: Extract<Discovered, { state: 'known' }>): readonly string[] {
  return chooseEndpoints(endpoints, preferredFamily).endpoints.map((place) => `http://${formatPlace(place)}`);
}

/** Why data planes behind a Service of `namespace`, which `field` refers to, cannot be found; undefined: they may be. */
export function unfollowedProblem(
  onlyNamespaces: readonly string[],
  namespace: string,
  field: string,
): string | undefined {
  if (onlyNamespaces.length === 0 || onlyNamespaces.includes(namespace)) return undefined;
  return `${field}: the operator does not watch namespace ${namespace}: add it to namespaces in the operator's configuration, or use urls`;
}

/** What is said of a Service whose endpoints are data planes, but that has none. */
export function noDataPlanes({ namespace, name }: ServicePortRef, field: string): string {
  return `Service ${namespace}/${name} in ${field} has no ready endpoint: check its Pods`;
}
