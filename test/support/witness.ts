import { Agent, createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SIGNATURE_HEADER } from './instrument.ts';

/** One request, with the operator that sent it. */
export interface Witnessed {
  readonly operator: string;
  readonly method: string;
  readonly path: string;
  readonly body: string;
  /** Other operators with a write in progress when this request arrived. */
  readonly besides: readonly string[];
}

/** A proxy in front of a gateway that records all requests in order of arrival. */
export interface Witness extends AsyncDisposable {
  readonly url: string;
  readonly seen: readonly Witnessed[];
  /** The writes: PUT and DELETE. */
  writes(): readonly Witnessed[];
}

export async function startWitness(target: string): Promise<Witness> {
  const seen: Witnessed[] = [];
  const underWay = new Map<object, string>();
  const agent = new Agent({ keepAlive: true });
  const server = createServer(async (incoming, outgoing) => {
    const { method = '', url: path = '', headers } = incoming;
    const operator = String(headers[SIGNATURE_HEADER] ?? 'unsigned');
    const besides = [...new Set(underWay.values())].filter((other) => other !== operator);
    const entry = { operator, method, path, body: '', besides };
    seen.push(entry);
    if (isWrite(entry)) underWay.set(outgoing, operator);
    outgoing.once('close', () => underWay.delete(outgoing));
    try {
      for await (const chunk of incoming) entry.body += chunk;
      const forwarded = httpRequest(new URL(path, target), { method, headers, agent }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      });
      forwarded.once('error', () => outgoing.destroy());
      forwarded.end(entry.body);
    } catch {
      // The client disconnected during its request.
      outgoing.destroy();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    writes: () => seen.filter(isWrite),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      agent.destroy();
    },
  };
}

function isWrite({ method }: { readonly method: string }): boolean {
  return method !== 'GET';
}
