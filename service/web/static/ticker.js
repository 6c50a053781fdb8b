// A worker: browsers slow the timers of a tab in the background to once a minute, but not a worker's.
setInterval(() => postMessage(0), 1000);
