import type { RateLimit } from '../../runtime/rate-limit.ts';
import type { RegistryObserver } from '../registry.ts';
import {
  type InstancesAnswer,
  type InstancesRequest,
  RegistryError,
  type RegistryProtocol,
} from './protocol.ts';
import type { Servers } from './servers.ts';

export interface FailOverDeps<Instance, Cursor> {
  readonly protocol: RegistryProtocol<Instance, Cursor>;
  readonly servers: Servers;
  readonly observer: RegistryObserver;
  readonly limitRate: RateLimit;
}

export interface FailOverAnswer<Instance, Cursor> extends InstancesAnswer<Instance, Cursor> {
  readonly server: URL;
}

/** Tries each server once, beginning with the one that answered last. Rejects with the error of the last one. */
export async function askOneServer<Instance, Cursor>(
  deps: FailOverDeps<Instance, Cursor>,
  request: Omit<InstancesRequest<Cursor>, 'server'>,
  signal: AbortSignal,
): Promise<FailOverAnswer<Instance, Cursor>> {
  const { limitRate, observer, protocol, servers } = deps;
  let { waitMs } = request;
  for (let left = servers.count; ; left -= 1) {
    const server = servers.current;
    try {
      const answer = await limitRate(() => {
        observer.requested();
        return protocol.ask({ ...request, server, waitMs }, signal);
      }, signal);
      return { ...answer, server };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RegistryError)) throw error;
      observer.failed(error.reason);
      if (error.scope !== 'server') throw error;
      servers.failed(server);
      if (left === 1) throw error;
      waitMs = 0;
    }
  }
}
