import { randomBytes } from 'node:crypto';
import { LEASE_SUCCESSOR_ANNOTATION } from '../../api/group.ts';
import { KubeApiError } from '../../kube/kube-error.ts';
import { handedOver, type Lease, microTime } from '../../kube/leader.ts';
import { type KubeTransport, resourcePath } from '../../kube/transport.ts';
import type { Clock } from '../../runtime/clock.ts';
import { held, remove } from '../install/applier.ts';

export interface LeaseDeps {
  readonly transport: KubeTransport;
  readonly clock: Clock;
  /** One line for the user. */
  readonly print: (line: string) => void;
}

export interface LeaseOptions {
  readonly namespace: string;
  readonly leaseName: string;
  readonly timeoutMs: number;
}

/** The operator's Lease in this program's hands, and renewed: no replica writes. */
export interface TakenLease extends AsyncDisposable {
  /** Deletes it, so that the next operator leads at once. Otherwise it expires half a minute after it is disposed. */
  delete(signal: AbortSignal): Promise<void>;
}

/** No host name begins with it, and so no replica's identity. */
const UNINSTALL = 'uninstall:';
const LOOK_EVERY_MS = 250;
const RENEW_EVERY_MS = 10_000;
/** After a request that failed: several tries fit into what is left of the Lease's duration. */
const RETRY_EVERY_MS = 2000;
/** For the last renewal of a leader to be old enough, and for the writes that a leader finishes before it hands over. */
const GRACE_MS = 5000;
const DEFAULT_DURATION_S = 15;

/**
 * Asks the operator to hand its Lease over, or takes one that is free or expired. While it is held no replica writes,
 * and none is in the middle of a write. Resolves to undefined where there is no Lease or it cannot be had, which is said.
 */
export async function takeLease(
  { transport, clock, print }: LeaseDeps,
  { namespace, leaseName, timeoutMs }: LeaseOptions,
  signal: AbortSignal,
): Promise<TakenLease | undefined> {
  const path = leasePath(namespace, leaseName);
  const where = `Lease ${namespace}/${leaseName}`;
  const identity = `${UNINSTALL}${randomBytes(4).toString('hex')}`;
  const begun = clock.monotonic();
  /** The record of the holder that was seen last, and since when. */
  let record = { text: '', since: begun };
  for (;;) {
    let lease: Lease | undefined;
    try {
      lease = (await held(transport, path, signal)) as Lease | undefined;
      if (lease === undefined) return undefined;
      const text = recordOf(lease);
      if (text !== record.text) record = { text, since: clock.monotonic() };
      const holder = lease.spec?.holderIdentity ?? '';
      if (holder === identity) break;
      if (isFree(lease, clock.monotonic() - record.since)) {
        await take({ transport, clock }, path, lease, identity, signal);
        break;
      }
      if (lease.metadata.annotations?.[LEASE_SUCCESSOR_ANNOTATION] !== identity) {
        await ask(transport, path, identity, signal);
      }
    } catch (error) {
      const { status, message } = error instanceof KubeApiError ? error : { status: undefined, message: '' };
      if (status === 403) {
        print(`${where} stays, and the next operator waits until it expires: ${message}`);
        return undefined;
      }
      // Another client changed or deleted it: it is read again.
      if (status !== 409 && status !== 404) throw error;
    }
    const waitMs = Math.min(timeoutMs, durationMsOf(lease) + GRACE_MS);
    if (clock.monotonic() - begun >= waitMs) {
      print(
        `The operator did not hand over ${where} within ${waitMs / 1000} s. The next operator waits until it expires.`,
      );
      return undefined;
    }
    await clock.sleep(LOOK_EVERY_MS, signal);
  }
  print(`No operator writes any more: this command holds ${where}.`);
  return renewed({ transport, clock, print }, { path, where, identity });
}

/** Renews the Lease of `identity` until it is deleted or disposed. A request that fails is tried again. */
function renewed(
  { transport, clock, print }: LeaseDeps,
  { path, where, identity }: { readonly path: string; readonly where: string; readonly identity: string },
): TakenLease {
  const stop = new AbortController();
  const renewing = (async () => {
    let waitMs = RENEW_EVERY_MS;
    for (;;) {
      await clock.sleep(waitMs, stop.signal).catch(() => undefined);
      if (stop.signal.aborted) return;
      try {
        const lease = (await held(transport, path, stop.signal)) as Lease | undefined;
        if (lease?.spec?.holderIdentity !== identity) {
          const holder = lease?.spec?.holderIdentity || 'nobody';
          print(
            `This command lost ${where} to ${holder}: an operator may write again. Scale it down, and run this command again.`,
          );
          return;
        }
        await take({ transport, clock }, path, lease, identity, stop.signal);
        waitMs = RENEW_EVERY_MS;
      } catch {
        // Also a conflict: the next read tells who changed the Lease.
        waitMs = RETRY_EVERY_MS;
      }
    }
  })();
  const end = async () => {
    stop.abort();
    await renewing;
  };
  return {
    [Symbol.asyncDispose]: end,
    async delete(signal) {
      await end();
      const lease = (await held(transport, path, signal)) as Lease | undefined;
      if (lease?.spec?.holderIdentity === identity) await remove(transport, path, signal);
    },
  };
}

/** A leader that lives changes its record several times within the Lease's duration. */
function isFree(lease: Lease, unchangedMs: number): boolean {
  const holder = lease.spec?.holderIdentity ?? '';
  return holder === '' || holder.startsWith(UNINSTALL) || unchangedMs >= durationMsOf(lease);
}

function recordOf({ spec }: Lease): string {
  return JSON.stringify([spec?.holderIdentity, spec?.renewTime, spec?.acquireTime]);
}

function durationMsOf(lease: Lease | undefined): number {
  return (lease?.spec?.leaseDurationSeconds ?? DEFAULT_DURATION_S) * 1000;
}

/** Rejects with a conflict where the Lease changed since it was read. */
async function take(
  { transport, clock }: Pick<LeaseDeps, 'transport' | 'clock'>,
  path: string,
  lease: Lease,
  identity: string,
  signal: AbortSignal,
): Promise<void> {
  const renewTime = microTime(clock.now());
  const spec = { ...lease.spec, ...handedOver(lease, identity, renewTime), renewTime };
  const body = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: lease.metadata, spec };
  await transport.send({ method: 'PUT', path, body, signal });
}

async function ask(
  transport: KubeTransport,
  path: string,
  identity: string,
  signal: AbortSignal,
): Promise<void> {
  await transport.send({
    method: 'PATCH',
    path,
    contentType: 'application/merge-patch+json',
    body: { metadata: { annotations: { [LEASE_SUCCESSOR_ANNOTATION]: identity } } },
    signal,
  });
}

function leasePath(namespace: string, name: string): string {
  return resourcePath({ group: 'coordination.k8s.io', version: 'v1', plural: 'leases', namespace, name });
}
