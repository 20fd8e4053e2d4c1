// Answers every HTTP request with one line that names the path (wasi:http 0.2).
import { Fields, OutgoingBody, OutgoingResponse, ResponseOutparam } from "wasi:http/types@0.2.12";

export const incomingHandler = {
  handle(request, responseOut) {
    const line = `hello from JavaScript, you asked for ${request.pathWithQuery() ?? "/"}\n`;
    const headers = Fields.fromList([["content-type", new TextEncoder().encode("text/plain; charset=utf-8")]]);
    const response = new OutgoingResponse(headers);
    const body = response.body();
    ResponseOutparam.set(responseOut, { tag: "ok", val: response });
    const stream = body.write();
    stream.blockingWriteAndFlush(new TextEncoder().encode(line));
    stream[Symbol.dispose]();
    OutgoingBody.finish(body, undefined);
  },
};
