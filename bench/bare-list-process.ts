import { Agent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';

/** The floor of a start: a process that reads the same lists as the operator in pages of the same size, parses them, and exits. */

const target = JSON.parse(await text(process.stdin)) as {
  readonly server: string;
  readonly caPem: string;
  readonly token: string;
  readonly gatewayUrl: string;
  readonly gatewayKey: string;
};
const kube = new HttpsAgent({ keepAlive: true, ca: target.caPem });
const plain = new Agent({ keepAlive: true });

function get(url: URL, headers: Record<string, string>): Promise<unknown> {
  const isTls = url.protocol === 'https:';
  return new Promise((resolve, reject) => {
    const options = { headers, agent: isTls ? kube : plain };
    (isTls ? httpsRequest : httpRequest)(url, options, (answer) => {
      if (answer.statusCode !== 200) reject(new Error(`${url.pathname}: ${answer.statusCode}`));
      else text(answer).then((body) => resolve(JSON.parse(body)), reject);
    })
      .once('error', reject)
      .end();
  });
}

async function pages(path: string): Promise<void> {
  for (let token = ''; ; ) {
    const url = new URL(path, target.server);
    url.searchParams.set('limit', '500');
    if (token !== '') url.searchParams.set('continue', token);
    const page = (await get(url, { authorization: `Bearer ${target.token}` })) as {
      readonly metadata: { readonly continue?: string };
    };
    token = page.metadata.continue ?? '';
    if (token === '') return;
  }
}

await Promise.all([
  pages('/apis/gatewayupstream.dev/v1alpha1/gatewayupstreams'),
  pages('/api/v1/services'),
  pages('/apis/discovery.k8s.io/v1/endpointslices?labelSelector=kubernetes.io%2Fservice-name'),
  get(new URL('/apisix/admin/upstreams', target.gatewayUrl), { 'x-api-key': target.gatewayKey }),
]);
process.exit();
