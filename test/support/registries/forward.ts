import { type Agent, type IncomingMessage, request, type ServerResponse } from 'node:http';

/** Forwards a request to another server. The connection closes if that server cannot be reached. */
export function forward(
  incoming: IncomingMessage,
  response: ServerResponse,
  target: URL,
  agent: Agent,
): void {
  const { method, url = '/', headers } = incoming;
  const outgoing = request(new URL(url, target), { method, headers, agent }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  outgoing.on('error', () => incoming.socket.destroy());
  response.once('close', () => outgoing.destroy());
  incoming.pipe(outgoing);
}
