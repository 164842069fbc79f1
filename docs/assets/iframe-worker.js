/* Search on a page that was opened from disk: browsers refuse workers there, so the theme's
 * search worker runs in a hidden frame instead. It wants what every worker has: postMessage,
 * onmessage and importScripts. */
"use strict";
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = null;
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      // Loaded before the worker's own script: what it takes for its global scope.
      inside.parent = { postMessage: (data) => this.receive(data) };
      inside.postMessage = (data) => this.receive(data);
      inside.importScripts = (...scripts) =>
        Promise.all(scripts.map((script) => this.load(inside, script)));
      this.inside = inside;
      this.load(inside, url).then(() => {
        this.isReady = true;
        this.waiting.splice(0).forEach((data) => this.postMessage(data));
      });
    }

    postMessage(data) {
      if (!this.isReady) {
        this.waiting.push(data);
        return;
      }
      this.inside.dispatchEvent(new this.inside.MessageEvent("message", { data }));
    }

    receive(data) {
      const event = new MessageEvent("message", { data });
      this.dispatchEvent(event);
      if (this.onmessage) this.onmessage(event);
    }

    load(inside, url) {
      return new Promise((resolve, reject) => {
        const script = inside.document.createElement("script");
        script.src = new URL(url, location.href).href;
        script.onload = resolve;
        script.onerror = reject;
        inside.document.body.append(script);
      });
    }

    terminate() {
      this.inside.frameElement.remove();
    }
  };
}
