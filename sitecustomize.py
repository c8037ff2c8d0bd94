import atexit, os, sys, time
def out():
    p=os.environ.get("CPU_OUT")
    if p: open(p,"a").write(f"{time.process_time()}\n")
atexit.register(out)
