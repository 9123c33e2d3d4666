import http, { type IncomingMessage } from 'node:http';
import https, { type RequestOptions } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';
import { orAborted } from '../runtime/aborted.ts';
import { plainMessage } from './api-answer.ts';
import { KubeApiError } from './kube-error.ts';

export interface ApiConnectionOptions {
  readonly kubeConfig: KubeConfig;
  readonly userAgent: string;
  /** Reads the kubeconfig again. Called after a 401, because the token may have changed. */
  readonly reload?: () => KubeConfig;
  /** Called when the API server answers a request for `path` with 401 or 403. */
  readonly onRefused?: (path: string) => void;
}

export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly body?: unknown;
  readonly contentType?: string;
}

/** Idle connections are closed before common load balancers (60 s) drop them silently. */
const IDLE_SOCKET_MS = 45_000;

/** HTTP to the API server of a kubeconfig, with its credentials. */
export class ApiConnection {
  readonly #options: ApiConnectionOptions;
  #config: KubeConfig;
  #pool: { readonly key: string; readonly agent: https.Agent | http.Agent } | undefined;

  constructor(options: ApiConnectionOptions) {
    this.#options = options;
    this.#config = options.kubeConfig;
  }

  /** Sends a request. Resolves when the response headers have arrived. */
  async open(request: ApiRequest): Promise<IncomingMessage> {
    request.signal.throwIfAborted();
    const server = this.#server();
    const tls = await this.#credentials(request.signal);
    return await this.#send(request, urlOf(server, request), tls);
  }

  close(): void {
    this.#pool?.agent.destroy();
    this.#pool = undefined;
  }

  #server(): string {
    const { server, proxyUrl } = this.#config.getCurrentCluster() ?? {};
    if (server === undefined)
      throw new KubeApiError('the current context of the kubeconfig names no cluster');
    if (proxyUrl !== undefined)
      throw new KubeApiError('the kubeconfig sets proxy-url, which is not supported');
    return server;
  }

  async #credentials(signal: AbortSignal): Promise<RequestOptions> {
    const tls: RequestOptions = {};
    try {
      // May run a credential plugin, and client-node sets no timeout for it.
      await orAborted(this.#config.applyToHTTPSOptions(tls), signal);
      return tls;
    } catch (error) {
      signal.throwIfAborted();
      // The message of a SyntaxError quotes the plugin's output, which contains a credential.
      const why =
        error instanceof SyntaxError ? 'the credential plugin did not print valid JSON' : plainMessage(error);
      throw new KubeApiError(`the credentials for the API server cannot be read: ${why}`);
    }
  }

  #send(request: ApiRequest, url: URL, tls: RequestOptions): Promise<IncomingMessage> {
    const { method, path, signal, body, contentType } = request;
    const secure = url.protocol === 'https:';
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const headers = this.#headers(payload, contentType, tls);
    const agent = this.#agentFor(secure, tls);
    const { auth } = tls;
    return new Promise((resolve, reject) => {
      const sent = (secure ? https : http).request(
        url,
        { method, headers, agent, signal, ...(typeof auth === 'string' ? { auth } : {}) },
        (response) => {
          this.#noteRefusal(response, path);
          resolve(response);
        },
      );
      // Not `once`: a second error without a listener would end the process.
      sent.on('error', (error) =>
        reject(
          signal.aborted
            ? signal.reason
            : new KubeApiError(`the API server could not be reached: ${plainMessage(error)}`),
        ),
      );
      sent.end(payload);
    });
  }

  #headers(
    payload: string | undefined,
    contentType = 'application/json',
    tls: RequestOptions,
  ): Record<string, string> {
    const headers: Record<string, string> = {
      Accept: 'application/json',
      'User-Agent': this.#options.userAgent,
      ...(tls.headers as Record<string, string> | undefined),
    };
    if (payload !== undefined) {
      headers['Content-Type'] = contentType;
      headers['Content-Length'] = String(Buffer.byteLength(payload));
    }
    return headers;
  }

  /** Keeps one agent, and so its connections, until the certificates change. client-node makes an agent per request. */
  #agentFor(secure: boolean, tls: RequestOptions): https.Agent | http.Agent {
    const { ca, cert, key, servername, rejectUnauthorized } = tls;
    const material = JSON.stringify([
      secure,
      String(ca),
      String(cert),
      String(key),
      servername,
      rejectUnauthorized,
    ]);
    if (this.#pool?.key !== material) {
      // The previous agent is not destroyed, so that its open watches and writes survive a rotation.
      const keep = { keepAlive: true, timeout: IDLE_SOCKET_MS };
      this.#pool = {
        key: material,
        agent: secure ? new https.Agent({ ...keep, ...definedTls(tls) }) : new http.Agent(keep),
      };
    }
    return this.#pool.agent;
  }

  #noteRefusal({ statusCode }: IncomingMessage, path: string): void {
    const { kubeConfig, reload, onRefused } = this.#options;
    if (statusCode === 401) this.#config = withFreshCredentials(kubeConfig, reload);
    if (statusCode === 401 || statusCode === 403) onRefused?.(path);
  }
}

function urlOf(server: string, { path, query }: ApiRequest): URL {
  const base = new URL(server);
  const url = new URL(`${base.pathname.replace(/\/$/, '')}${path}`, base);
  url.search = new URLSearchParams(query).toString();
  return url;
}

/**
 * A KubeConfig without cached tokens, for use after a 401. client-node 2.0.1 caches the content of a token file for 60 s.
 * It caches the token of an exec plugin until it expires, or forever if the plugin returns no expiry.
 */
function withFreshCredentials(kubeConfig: KubeConfig, reload: ApiConnectionOptions['reload']): KubeConfig {
  try {
    if (reload !== undefined) return reload();
  } catch {
    // The file may be missing or half written at this moment. Use the settings that were read before.
  }
  const { clusters, users, contexts, currentContext } = kubeConfig;
  const fresh = new KubeConfig();
  fresh.loadFromOptions({ clusters, users, contexts, currentContext });
  return fresh;
}

function definedTls({
  ca,
  cert,
  key,
  servername,
  rejectUnauthorized,
  pfx,
  passphrase,
}: RequestOptions): https.AgentOptions {
  return Object.fromEntries(
    Object.entries({ ca, cert, key, servername, rejectUnauthorized, pfx, passphrase }).filter(
      ([, value]) => value !== undefined,
    ),
  );
}
